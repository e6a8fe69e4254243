// What every subject of a site used in all, most first.
// {{derived}} {{start}} {{stop}} {{site}} {{quantity}}
from(bucket: {{derived}})
  |> range(start: {{start}}, stop: {{stop}})
  |> filter(fn: (r) => r._measurement == "energy" and r.site == {{site}} and r.quantity == {{quantity}})
  |> filter(fn: (r) => r._field == "value")
  |> sum()
  |> keep(columns: ["_value", "subject"])
  |> group()
  |> sort(columns: ["_value"], desc: true)
