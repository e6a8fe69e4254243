// Sums of the site's days for every subject of a site; the label is the beginning of the day.
// {{derived}} {{start}} {{stop}} {{site}} {{quantity}} {{timezone}}
import "timezone"

option location = timezone.location(name: {{timezone}})

from(bucket: {{derived}})
  |> range(start: {{start}}, stop: {{stop}})
  |> filter(fn: (r) => r._measurement == "energy" and r.site == {{site}} and r.quantity == {{quantity}})
  |> filter(fn: (r) => r._field == "value")
  |> aggregateWindow(every: 1d, fn: sum, createEmpty: false, timeSrc: "_start")
  |> keep(columns: ["_time", "_value", "subject", "quantity"])
