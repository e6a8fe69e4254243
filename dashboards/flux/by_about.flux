// The newest figures of one quantity of one subject: a column for each thing it is about.
// {{derived}} {{stop}} {{back}} {{where}} {{quantities}}
import "date"

from(bucket: {{derived}})
  |> range(start: date.sub(d: {{back}}, from: {{stop}}), stop: {{stop}})
  |> filter(fn: (r) => r._measurement == "indicator" and {{where}} and r.quantity =~ {{quantities}})
  |> filter(fn: (r) => r._field == "value")
  |> last()
  |> group()
  |> pivot(rowKey: ["subject"], columnKey: ["about"], valueColumn: "_value")
  |> drop(columns: ["subject"])
