// The sum of the newest figures, such as all findings of the day. It is 0 only while the figure
// `alive` is still computed: silence is unknown, not zero.
// {{derived}} {{stop}} {{back}} {{where}} {{quantities}} {{alive}}
import "date"

latest = from(bucket: {{derived}})
  |> range(start: date.sub(d: {{back}}, from: {{stop}}), stop: {{stop}})
  |> filter(fn: (r) => r._measurement == "indicator" and {{where}})
  |> filter(fn: (r) => r._field == "value")

found = latest
  |> filter(fn: (r) => r.quantity =~ {{quantities}})
  |> last()
  |> keep(columns: ["_value"])

alive = latest
  |> filter(fn: (r) => r.quantity =~ {{alive}})
  |> last()
  |> map(fn: (r) => ({_value: r._value * 0.0}))

union(tables: [found, alive])
  |> group()
  |> sum()
