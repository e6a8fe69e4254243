// The power of the newest minute, and how many of the boundary's meters it is made of: `part` of them
// where some are not known, and then it is no figure of the whole.
// {{derived}} {{stop}} {{where}} {{whole}} {{part}}
import "date"

from(bucket: {{derived}})
  |> range(start: date.sub(d: 10m, from: {{stop}}), stop: {{stop}})
  |> filter(fn: (r) => r._measurement == "indicator" and {{where}} and r.quantity =~ /^power_(kw|partial_kw|meters|of)$/)
  |> filter(fn: (r) => r._field == "value")
  |> group()
  |> pivot(rowKey: ["_time"], columnKey: ["quantity"], valueColumn: "_value")
  |> sort(columns: ["_time"])
  |> tail(n: 1)
  |> filter(fn: (r) => exists r.power_kw or exists r.power_partial_kw)
  |> map(
      fn: (r) => ({
          known: (if exists r.power_kw then {{whole}} else {{part}}) + (if exists r.power_meters and exists r.power_of
          then
              " " + string(v: int(v: r.power_meters)) + " / " + string(v: int(v: r.power_of))
          else
              ""),
          _value: if exists r.power_kw then r.power_kw else if exists r.power_partial_kw then r.power_partial_kw else 0.0,
      }),
  )
  |> group(columns: ["known"])
