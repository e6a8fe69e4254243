// One figure for each of the site's own days, the first one whole; a day of which nothing is known
// is empty.
// {{derived}} {{start}} {{stop}} {{timezone}} {{where}} {{quantities}} {{by}} {{fn}} {{kept}}
import "date"
import "timezone"

option location = timezone.location(name: {{timezone}})

from(bucket: {{derived}})
  |> range(start: date.truncate(t: {{start}}, unit: 1d), stop: {{stop}})
  |> filter(fn: (r) => r._measurement == "indicator" and {{where}} and r.quantity =~ {{quantities}})
  |> filter(fn: (r) => r._field == "value")
  |> group(columns: {{by}})
  |> sort(columns: ["_time"])
  |> aggregateWindow(every: 1d, fn: {{fn}}, createEmpty: true, timeSrc: "_start")
  |> keep(columns: {{kept}})
