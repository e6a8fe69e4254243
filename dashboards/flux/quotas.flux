// Quotas as they stood last, those furthest ahead of their pace first; of each subject `each` of them.
// The share of one of which nothing is known is no number: it is told from there being no quota.
// {{derived}} {{names}} {{stop}} {{where}} {{each}} {{limit}} {{columns}}
import "array"
import "date"
import "dict"
import "regexp"
import "strings"

names = {{names}}

from(bucket: {{derived}})
  |> range(start: date.sub(d: 3d, from: {{stop}}), stop: {{stop}})
  |> filter(fn: (r) => r._measurement == "indicator" and {{where}} and r.quantity =~ /^quota_/)
  |> filter(fn: (r) => r._field == "value")
  |> last()
  |> group()
  |> pivot(rowKey: ["subject", "about"], columnKey: ["quantity"], valueColumn: "_value")
  |> map(
      fn: (r) => ({r with
          quota_used_share: if exists r.quota_used_share then r.quota_used_share else float(v: "NaN"),
          ahead: if exists r.quota_used_share and exists r.quota_expected_share
          then
              r.quota_used_share - r.quota_expected_share
          else
              -1000.0,
      }),
  )
  |> group(columns: ["subject"])
  |> sort(columns: ["ahead"], desc: true)
  |> limit(n: {{each}})
  |> group()
  |> sort(columns: ["ahead"], desc: true)
  |> limit(n: {{limit}})
  |> map(fn: (r) => ({r with subject: dict.get(dict: names, key: r.subject, default: regexp.replaceAllString(r: /^[^\/]+\//, v: r.subject, t: ""))}))
  |> keep(columns: {{columns}})
