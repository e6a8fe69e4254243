// What was used of every carrier in the range, and which share of it was measured.
// {{derived}} {{start}} {{stop}} {{where}} {{carriers}}
import "dict"
import "strings"

carriers = {{carriers}}

from(bucket: {{derived}})
  |> range(start: {{start}}, stop: {{stop}})
  |> filter(fn: (r) => r._measurement == "indicator" and {{where}} and r.quantity =~ /^(energy_measured|energy_estimated)$/)
  |> filter(fn: (r) => r._field == "value")
  |> sum()
  |> group()
  |> pivot(rowKey: ["about"], columnKey: ["quantity"], valueColumn: "_value")
  |> map(
      fn: (r) => {
          parts = strings.split(v: r.about, t: ":")
          measured = if exists r.energy_measured then r.energy_measured else 0.0
          estimated = if exists r.energy_estimated then r.energy_estimated else 0.0

          return {
              carrier: dict.get(dict: carriers, key: parts[0], default: parts[0]),
              energy: measured + estimated,
              unit: parts[1],
              measured_share: if measured + estimated > 0.0 then measured / (measured + estimated) else 1.0,
          }
      },
  )
  |> sort(columns: ["carrier"])
