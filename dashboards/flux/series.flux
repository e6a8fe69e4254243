// Figures over time; a window without any is empty, so that a gap is seen.
// {{derived}} {{start}} {{stop}} {{where}} {{quantities}} {{by}} {{every}} {{fn}} {{kept}}
import "date"
import "regexp"

from(bucket: {{derived}})
  |> range(start: {{start}}, stop: {{stop}})
  |> filter(fn: (r) => r._measurement == "indicator" and {{where}} and r.quantity =~ {{quantities}})
  |> filter(fn: (r) => r._field == "value")
  |> map(fn: (r) => ({r with subject: regexp.replaceAllString(r: /^[^\/]+\//, v: r.subject, t: "")}))
  |> group(columns: {{by}})
  |> sort(columns: ["_time"])
  |> aggregateWindow(every: {{every}}, fn: {{fn}}, createEmpty: true, timeSrc: "_start")
  |> keep(columns: {{kept}})
