// The hours of a subject and quantity; an hour of which nothing is known has no value.
// {{derived}} {{start}} {{stop}} {{subject}} {{quantity}}
from(bucket: {{derived}})
  |> range(start: {{start}}, stop: {{stop}})
  |> filter(fn: (r) => r._measurement == "energy" and r.subject == {{subject}} and r.quantity == {{quantity}})
  |> filter(fn: (r) => r._field == "value")
  |> keep(columns: ["_time", "_value", "subject", "quantity"])
