// Hours that are not as measured, by point and carrier, and how many of them were estimated.
// {{derived}} {{start}} {{stop}} {{site}}
from(bucket: {{derived}})
  |> range(start: {{start}}, stop: {{stop}})
  |> filter(fn: (r) => r._measurement == "energy" and r.site == {{site}} and r._field == "flags")
  |> filter(fn: (r) => r._value > 0.0)
  |> group(columns: ["subject", "quantity"])
  |> count()
  |> group()
  |> keep(columns: ["subject", "quantity", "_value"])
  |> rename(columns: {_value: "hours"})
  |> sort(columns: ["hours"], desc: true)
