package image

import (
	"fmt"
	"strconv"
	"time"
)

// maxEpoch is 9999-12-31T23:59:59Z: later times have no RFC 3339 spelling.
const maxEpoch = 253402300799

// SourceDateEpoch reads the value of the SOURCE_DATE_EPOCH environment
// variable (seconds since the Unix epoch, see
// https://reproducible-builds.org/specs/source-date-epoch/). An empty value is
// the same as none: set is false, and the caller uses its own default.
func SourceDateEpoch(value string) (t time.Time, set bool, err error) {
	if value == "" {
		return time.Time{}, false, nil
	}
	seconds, err := strconv.ParseInt(value, 10, 64)
	if err != nil || seconds < 0 || seconds > maxEpoch {
		return time.Time{}, false, fmt.Errorf("SOURCE_DATE_EPOCH: %.40q: expected seconds since 1970 between 0 and %d", value, int64(maxEpoch))
	}
	return time.Unix(seconds, 0).UTC(), true, nil
}
