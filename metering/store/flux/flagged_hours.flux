// Hours that carry flags, with the bits of all of them: estimated, interpolated, gap, reset, ...
// {{derived}} {{start}} {{stop}} {{site}}
from(bucket: {{derived}})
  |> range(start: {{start}}, stop: {{stop}})
  |> filter(fn: (r) => r._measurement == "energy" and r.site == {{site}})
  |> filter(fn: (r) => r._field == "flags")
  |> filter(fn: (r) => r._value > 0.0)
  |> keep(columns: ["_time", "_value", "subject", "quantity"])
