// Emissions of the range for every building, by unit, highest first.
// {{derived}} {{names}} {{start}} {{stop}} {{where}}
import "array"
import "date"
import "dict"
import "regexp"
import "strings"

names = {{names}}

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
          name: dict.get(dict: names, key: r.subject, default: regexp.replaceAllString(r: /^[^\/]+\//, v: r.subject, t: "")) + " · " + r.unit,
          _value: r._value,
      }),
  )
  |> sort(columns: ["_value"], desc: true)
