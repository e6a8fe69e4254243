// The newest figures before the end of the range, if they are not older than `back`: a row per
// subject and what it is about, a column per quantity. What nobody computes any more is not shown.
// {{derived}} {{stop}} {{back}} {{where}} {{quantities}}
import "date"
import "regexp"

from(bucket: {{derived}})
  |> range(start: date.sub(d: {{back}}, from: {{stop}}), stop: {{stop}})
  |> filter(fn: (r) => r._measurement == "indicator" and {{where}} and r.quantity =~ {{quantities}})
  |> filter(fn: (r) => r._field == "value")
  |> last()
  |> group()
  |> pivot(rowKey: ["subject", "about"], columnKey: ["quantity"], valueColumn: "_value")
  |> map(fn: (r) => ({r with subject: regexp.replaceAllString(r: /^[^\/]+\//, v: r.subject, t: "")}))
  |> sort(columns: ["subject", "about"])
