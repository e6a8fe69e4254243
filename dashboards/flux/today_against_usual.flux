// How much more or less than on the usual day until now, as a share of it.
// {{derived}} {{stop}} {{subject}}
import "date"

from(bucket: {{derived}})
  |> range(start: date.sub(d: 10m, from: {{stop}}), stop: {{stop}})
  |> filter(fn: (r) => r._measurement == "indicator" and r.subject == {{subject}} and r.quantity =~ /^(energy_today_kwh|usual_today_kwh)$/)
  |> filter(fn: (r) => r._field == "value")
  |> last()
  |> group()
  |> pivot(rowKey: ["subject"], columnKey: ["quantity"], valueColumn: "_value")
  |> filter(fn: (r) => exists r.energy_today_kwh and exists r.usual_today_kwh)
  |> filter(fn: (r) => r.usual_today_kwh > 0.0)
  |> map(fn: (r) => ({usual: r.usual_today_kwh, difference: r.energy_today_kwh / r.usual_today_kwh - 1.0}))
