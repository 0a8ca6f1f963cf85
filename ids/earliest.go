package ids

import (
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
)

// Earliest returns the smallest identifier of the kind T that New may have made
// at a time, to the millisecond: those that are not smaller are not older. It
// names nothing.
func Earliest[T ~string](prefix string, at time.Time) T {
	var id ulid.ULID
	if err := id.SetTime(ulid.Timestamp(at)); err != nil { // before 1970, or after 10889
		return T(prefix + "_")
	}
	return T(prefix + "_" + strings.ToLower(id.String()))
}
