// The newest figure of the day so far, and which share of the day it is known of: `part` where that
// is less than `enough`.
// {{derived}} {{stop}} {{where}} {{quantity}} {{share}} {{enough}} {{whole}} {{part}}
import "date"

from(bucket: {{derived}})
  |> range(start: date.sub(d: 10m, from: {{stop}}), stop: {{stop}})
  |> filter(fn: (r) => r._measurement == "indicator" and {{where}} and (r.quantity == {{quantity}} or r.quantity == {{share}}))
  |> filter(fn: (r) => r._field == "value")
  |> map(fn: (r) => ({r with quantity: if r.quantity == {{share}} then "share" else "value"}))
  |> group()
  |> pivot(rowKey: ["_time", "about"], columnKey: ["quantity"], valueColumn: "_value")
  |> group(columns: ["about"])
  |> sort(columns: ["_time"])
  |> tail(n: 1)
  |> filter(fn: (r) => exists r.value)
  |> map(
      fn: (r) => ({
          known: (if r.about == "-" then "" else r.about + " · ") + (if exists r.share
          then
              (if r.share < {{enough}} then {{part}} else {{whole}}) + " " + string(v: int(v: r.share * 100.0 + 0.000001)) + " %"
          else
              {{part}} + " ?"),
          _value: r.value,
      }),
  )
  |> group(columns: ["known"])
