// Emissions of the site's days by scope, over all subjects of a site.
// {{derived}} {{start}} {{stop}} {{site}} {{timezone}}
import "timezone"

option location = timezone.location(name: {{timezone}})

from(bucket: {{derived}})
  |> range(start: {{start}}, stop: {{stop}})
  |> filter(fn: (r) => r._measurement == "emissions" and r.site == {{site}})
  |> filter(fn: (r) => r._field == "value")
  |> group(columns: ["quantity"])
  |> aggregateWindow(every: 1d, fn: sum, createEmpty: false, timeSrc: "_start")
  |> keep(columns: ["_time", "_value", "quantity"])
