// How many hours of the site's days are known, for every subject of a site. An hour without the
// field `coverage` is known whole; an hour that is not there at all is not known.
// {{derived}} {{start}} {{stop}} {{site}} {{quantity}} {{timezone}}
import "timezone"

option location = timezone.location(name: {{timezone}})

from(bucket: {{derived}})
  |> range(start: {{start}}, stop: {{stop}})
  |> filter(fn: (r) => r._measurement == "energy" and r.site == {{site}} and r.quantity == {{quantity}})
  |> filter(fn: (r) => r._field == "coverage" or r._field == "source")
  |> pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value")
  |> map(fn: (r) => ({_time: r._time, subject: r.subject, _value: if exists r.coverage then r.coverage else 1.0}))
  |> group(columns: ["subject"])
  |> window(every: 1d)
  |> sum()
  |> duplicate(column: "_start", as: "_time")
  |> window(every: inf)
  |> keep(columns: ["_time", "_value", "subject"])
