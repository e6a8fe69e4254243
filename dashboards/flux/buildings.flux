// Buildings of a site without the site's id before them, and their names: north|North hall.
import "array"
import "dict"
import "influxdata/influxdb/schema"
import "strings"

names = {{names}}

schema.tagValues(
    bucket: {{derived}},
    tag: "subject",
    predicate: (r) =>
        r._measurement == "indicator" and r.site == {{site}} and r.subject =~ /\//
            and r.quantity =~ /^(power_kw|energy_today_kwh|energy_measured|energy_estimated)$/,
    start: time(v: 0),
    stop: now(),
)
  |> map(fn: (r) => ({
          _value: strings.trimPrefix(v: r._value, prefix: {{site}} + "/") + "|" + dict.get(
              dict: names,
              key: r._value,
              default: strings.trimPrefix(v: r._value, prefix: {{site}} + "/"),
          ),
      }),
  )
