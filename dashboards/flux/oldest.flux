// Meters and when they were last read, silent ones first, those never heard before all.
// {{derived}} {{stop}} {{site}}
import "date"
import "regexp"

from(bucket: {{derived}})
  |> range(start: date.sub(d: 10m, from: {{stop}}), stop: {{stop}})
  |> filter(fn: (r) => r._measurement == "indicator" and r.site == {{site}} and r.quantity =~ /^meter_(age_s|silent)$/)
  |> filter(fn: (r) => r._field == "value")
  |> last()
  |> group()
  |> pivot(rowKey: ["subject", "about"], columnKey: ["quantity"], valueColumn: "_value")
  |> map(
      fn: (r) => ({r with
          subject: regexp.replaceAllString(r: /^[^\/]+\//, v: r.subject, t: ""),
          first: if exists r.meter_silent then r.meter_silent else 0.0,
          second: if exists r.meter_age_s then r.meter_age_s else 1000000000000.0,
      }),
  )
  |> sort(columns: ["first", "second"], desc: true)
  |> limit(n: 200)
  |> drop(columns: ["first", "second"])
