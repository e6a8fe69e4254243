// Live meters as "n / N".
// {{derived}} {{stop}} {{site}}
import "date"

from(bucket: {{derived}})
  |> range(start: date.sub(d: 10m, from: {{stop}}), stop: {{stop}})
  |> filter(fn: (r) => r._measurement == "indicator" and r.subject == {{site}} and r.quantity =~ /^meters_(live|total)$/)
  |> filter(fn: (r) => r._field == "value")
  |> last()
  |> group()
  |> pivot(rowKey: ["subject"], columnKey: ["quantity"], valueColumn: "_value")
  |> map(fn: (r) => ({live: string(v: int(v: r.meters_live)) + " / " + string(v: int(v: r.meters_total))}))
