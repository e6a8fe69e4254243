// Whether meters were silent over time, of thirty: those that are now, then those read longest ago.
// The windows are taken before the choice, because InfluxDB takes windows where the data lie.
// {{derived}} {{start}} {{stop}} {{site}} {{every}}
import "date"
import "regexp"

of_meters = (start) => from(bucket: {{derived}})
  |> range(start: start, stop: {{stop}})
  |> filter(fn: (r) => r._measurement == "indicator" and r.site == {{site}})
  |> filter(fn: (r) => r._field == "value")

oldest = of_meters(start: date.sub(d: 10m, from: {{stop}}))
  |> filter(fn: (r) => r.quantity =~ /^meter_(age_s|silent)$/)
  |> last()
  |> group()
  |> pivot(rowKey: ["subject"], columnKey: ["quantity"], valueColumn: "_value")
  |> map(
      fn: (r) => ({
          subject: r.subject,
          first: if exists r.meter_silent then r.meter_silent else 0.0,
          second: if exists r.meter_age_s then r.meter_age_s else 1000000000000.0,
      }),
  )
  |> sort(columns: ["first", "second"], desc: true)
  |> limit(n: 30)
  |> findColumn(fn: (key) => true, column: "subject")

of_meters(start: {{start}})
  |> filter(fn: (r) => r.quantity == "meter_silent")
  |> aggregateWindow(every: {{every}}, fn: max, createEmpty: true, timeSrc: "_start")
  |> filter(fn: (r) => contains(value: r.subject, set: oldest))
  |> map(fn: (r) => ({r with subject: regexp.replaceAllString(r: /^[^\/]+\//, v: r.subject, t: "")}))
  |> keep(columns: ["_time", "_value", "subject"])
