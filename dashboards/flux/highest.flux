// The newest figures of one quantity, highest first, such as every building's energy of the day.
// {{derived}} {{names}} {{stop}} {{back}} {{where}} {{quantities}}
import "array"
import "date"
import "dict"
import "regexp"
import "strings"

names = {{names}}

from(bucket: {{derived}})
  |> range(start: date.sub(d: {{back}}, from: {{stop}}), stop: {{stop}})
  |> filter(fn: (r) => r._measurement == "indicator" and {{where}} and r.quantity =~ {{quantities}})
  |> filter(fn: (r) => r._field == "value")
  |> last()
  |> group()
  |> map(fn: (r) => ({name: dict.get(dict: names, key: r.subject, default: regexp.replaceAllString(r: /^[^\/]+\//, v: r.subject, t: "")), _value: r._value}))
  |> sort(columns: ["_value"], desc: true)
