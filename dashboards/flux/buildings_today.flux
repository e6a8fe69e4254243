// Every building's energy of the day so far, highest first; one that is known in part says so.
// {{derived}} {{names}} {{stop}} {{where}} {{enough}} {{part}}
import "array"
import "date"
import "dict"
import "regexp"
import "strings"

names = {{names}}

from(bucket: {{derived}})
  |> range(start: date.sub(d: 10m, from: {{stop}}), stop: {{stop}})
  |> filter(fn: (r) => r._measurement == "indicator" and {{where}} and r.quantity =~ /^(energy_today_kwh|coverage_today)$/)
  |> filter(fn: (r) => r._field == "value")
  |> last()
  |> group()
  |> pivot(rowKey: ["subject"], columnKey: ["quantity"], valueColumn: "_value")
  |> filter(fn: (r) => exists r.energy_today_kwh)
  |> map(
      fn: (r) => ({
          id: regexp.replaceAllString(r: /^[^\/]+\//, v: r.subject, t: ""),
          name: dict.get(dict: names, key: r.subject, default: regexp.replaceAllString(r: /^[^\/]+\//, v: r.subject, t: "")),
          note: if exists r.coverage_today
          then
              if r.coverage_today < {{enough}} then {{part}} + " " + string(v: int(v: r.coverage_today * 100.0 + 0.000001)) + " %" else ""
          else
              "",
          _value: r.energy_today_kwh,
      }),
  )
  |> sort(columns: ["_value"], desc: true)
