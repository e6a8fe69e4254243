// What the newest verdict on each quota says.
// {{derived}} {{stop}} {{where}}
import "date"

from(bucket: {{derived}})
  |> range(start: date.sub(d: 3d, from: {{stop}}), stop: {{stop}})
  |> filter(fn: (r) => r._measurement == "indicator" and {{where}} and r.quantity == "quota_verdict")
  |> filter(fn: (r) => r._field == "text")
  |> last()
  |> group()
  |> keep(columns: ["about", "_value"])
  |> rename(columns: {_value: "reason"})
  |> sort(columns: ["about"])
