// Supply and return temperature of the heat point that gives most, and their difference.
// {{derived}} {{stop}} {{where}}
import "date"

from(bucket: {{derived}})
  |> range(start: date.sub(d: 10m, from: {{stop}}), stop: {{stop}})
  |> filter(fn: (r) => r._measurement == "indicator" and {{where}} and r.quantity =~ /^(heat_power_kw|supply_temperature|return_temperature)$/)
  |> filter(fn: (r) => r._field == "value")
  |> last()
  |> group()
  |> pivot(rowKey: ["subject"], columnKey: ["quantity"], valueColumn: "_value")
  |> map(fn: (r) => ({r with power: if exists r.heat_power_kw then r.heat_power_kw else 0.0}))
  |> sort(columns: ["power"], desc: true)
  |> limit(n: 1)
  |> keep(columns: ["supply_temperature", "return_temperature"])
