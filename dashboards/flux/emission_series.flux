// Emissions by scope, carrier and unit; a window without any figure is empty. `start` begins an hour
// or a day, `location` is the zone of days; hours are counted in UTC, or in autumn two are one bar.
// {{derived}} {{start}} {{stop}} {{location}} {{where}} {{every}} {{carriers}} {{scope}}
import "date"
import "dict"
import "strings"
import "timezone"

option location = {{location}}

carriers = {{carriers}}

from(bucket: {{derived}})
  |> range(start: {{start}}, stop: {{stop}})
  |> filter(fn: (r) => r._measurement == "indicator" and {{where}} and r.quantity == "emissions")
  |> filter(fn: (r) => r._field == "value")
  |> group(columns: ["about"])
  |> sort(columns: ["_time"])
  |> aggregateWindow(every: {{every}}, fn: sum, createEmpty: true, timeSrc: "_start")
  |> map(
      fn: (r) => {
          parts = strings.split(v: r.about, t: ":")

          return {
              _time: r._time,
              _value: r._value,
              about: {{scope}} + " " + parts[0] + " · " + dict.get(dict: carriers, key: parts[1], default: parts[1]) + " · " + parts[2],
          }
      },
  )
  |> group(columns: ["about"])
