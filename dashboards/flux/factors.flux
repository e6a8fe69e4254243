// The emission factors in use, with what the text of each says: unit, publisher, verification.
// {{derived}} {{stop}} {{site}}
import "date"
import "strings"

from(bucket: {{derived}})
  |> range(start: date.sub(d: 3d, from: {{stop}}), stop: {{stop}})
  |> filter(fn: (r) => r._measurement == "indicator" and r.subject == {{site}} and r.quantity == "factor")
  |> last()
  |> pivot(rowKey: ["about"], columnKey: ["_field"], valueColumn: "_value")
  |> group()
  |> map(
      fn: (r) => {
          parts = strings.split(v: if exists r.text then r.text else "", t: " · ")
          count = length(arr: parts)

          return {
              factor: r.about,
              value: r.value,
              unit: parts[0],
              publisher: if count > 1 then parts[1] else "",
              verification: if count > 2 then parts[2] else "",
          }
      },
  )
  |> sort(columns: ["factor"])
