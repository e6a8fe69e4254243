// For every meter of a site: when its newest reading arrived, and of what time it is.
// {{bucket}} {{start}} {{stop}} {{site}}
from(bucket: {{bucket}})
  |> range(start: {{start}}, stop: {{stop}})
  |> filter(fn: (r) => r._measurement == "reading" and r.site == {{site}} and r._field == "~received")
  |> last()
  |> group(columns: ["meter"])
  |> sort(columns: ["_time"])
  |> last()
  |> map(fn: (r) => ({meter: r.meter, read_at: r._time, received_at: time(v: int(v: r._value) * 1000)}))
  |> group()
  |> sort(columns: ["received_at"])
