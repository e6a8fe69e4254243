// The zone in which the days of a site begin, as the platform last said; until it did, `usual`.
// {{derived}} {{site}} {{usual}}
import "array"

said = from(bucket: {{derived}})
  |> range(start: time(v: 0), stop: now())
  |> filter(fn: (r) => r._measurement == "indicator" and r.subject == {{site}} and r.quantity == "timezone")
  |> filter(fn: (r) => r._field == "text")
  |> last()
  |> findColumn(fn: (key) => true, column: "_value")

array.from(rows: [{_value: if length(arr: said) > 0 then said[0] else {{usual}}}])
