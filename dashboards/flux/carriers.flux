// Carriers of which hours are known, with their unit, and what people read of them, such as
// electricity:kWh|electricity · kWh.
// {{derived}} {{site}} {{carriers}}
import "dict"
import "influxdata/influxdb/schema"
import "strings"

carriers = {{carriers}}

schema.tagValues(
    bucket: {{derived}},
    tag: "about",
    predicate: (r) =>
        r._measurement == "indicator" and r.site == {{site}}
            and r.quantity =~ /^(energy_measured|energy_estimated)$/,
    start: time(v: 0),
    stop: now(),
)
  |> map(
      fn: (r) => {
          parts = strings.split(v: r._value, t: ":")

          return {_value: r._value + "|" + dict.get(dict: carriers, key: parts[0], default: parts[0]) + " · " + parts[1]}
      },
  )
