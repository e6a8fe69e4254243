// How old the oldest of all last readings is, in hours, and how many meters are silent: by how often each of
// them is read, an old reading may be in time.
// {{derived}} {{stop}} {{site}} {{silent}} {{in_time}}
import "date"

from(bucket: {{derived}})
  |> range(start: date.sub(d: 10m, from: {{stop}}), stop: {{stop}})
  |> filter(fn: (r) => r._measurement == "indicator" and r.subject == {{site}} and r.quantity =~ /^(oldest_age_s|meters_live|meters_total)$/)
  |> filter(fn: (r) => r._field == "value")
  |> group()
  |> pivot(rowKey: ["_time"], columnKey: ["quantity"], valueColumn: "_value")
  |> sort(columns: ["_time"])
  |> tail(n: 1)
  |> filter(fn: (r) => exists r.oldest_age_s and exists r.meters_live and exists r.meters_total)
  |> map(
      fn: (r) => ({
          known: if r.meters_live < r.meters_total then
              string(v: int(v: r.meters_total - r.meters_live)) + " " + {{silent}}
          else
              {{in_time}},
          _value: r.oldest_age_s / 3600.0,
      }),
  )
  |> group(columns: ["known"])
