// Emissions of the range for every building, by unit, highest first.
// {{derived}} {{start}} {{stop}} {{where}}
import "regexp"
import "strings"

from(bucket: {{derived}})
  |> range(start: {{start}}, stop: {{stop}})
  |> filter(fn: (r) => r._measurement == "indicator" and {{where}} and r.quantity == "emissions")
  |> filter(fn: (r) => r._field == "value")
  |> map(fn: (r) => ({r with unit: strings.split(v: r.about, t: ":")[2]}))
  |> group(columns: ["subject", "unit"])
  |> sum()
  |> group()
  |> map(
      fn: (r) => ({
          name: regexp.replaceAllString(r: /^[^\/]+\//, v: r.subject, t: "") + " · " + r.unit,
          _value: r._value,
      }),
  )
  |> sort(columns: ["_value"], desc: true)
