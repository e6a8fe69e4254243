// Age of the newest reading over time, of the thirty meters that were read longest ago; the windows
// are taken before the choice, because InfluxDB takes windows where the data lie.
// {{derived}} {{start}} {{stop}} {{site}} {{every}}
import "date"
import "regexp"

ages = (start) => from(bucket: {{derived}})
  |> range(start: start, stop: {{stop}})
  |> filter(fn: (r) => r._measurement == "indicator" and r.site == {{site}} and r.quantity == "meter_age_s")
  |> filter(fn: (r) => r._field == "value")

oldest = ages(start: date.sub(d: 10m, from: {{stop}}))
  |> last()
  |> group()
  |> sort(columns: ["_value"], desc: true)
  |> limit(n: 30)
  |> findColumn(fn: (key) => true, column: "subject")

ages(start: {{start}})
  |> aggregateWindow(every: {{every}}, fn: max, createEmpty: true, timeSrc: "_start")
  |> filter(fn: (r) => contains(value: r.subject, set: oldest))
  |> map(fn: (r) => ({r with subject: regexp.replaceAllString(r: /^[^\/]+\//, v: r.subject, t: "")}))
  |> keep(columns: ["_time", "_value", "subject"])
