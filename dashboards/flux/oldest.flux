// The meters that were read longest ago, silent ones first.
// {{derived}} {{stop}} {{site}}
import "date"
import "regexp"

from(bucket: {{derived}})
  |> range(start: date.sub(d: 10m, from: {{stop}}), stop: {{stop}})
  |> filter(fn: (r) => r._measurement == "indicator" and r.site == {{site}} and r.quantity == "meter_age_s")
  |> filter(fn: (r) => r._field == "value")
  |> last()
  |> group()
  |> sort(columns: ["_value"], desc: true)
  |> limit(n: 200)
  |> map(
      fn: (r) => ({
          subject: regexp.replaceAllString(r: /^[^\/]+\//, v: r.subject, t: ""),
          about: r.about,
          meter_age_s: r._value,
      }),
  )
