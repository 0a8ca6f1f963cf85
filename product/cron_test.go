package product_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/product"
)

func at(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return t
}

func TestParseCron(t *testing.T) {
	for _, good := range []string{
		"* * * * *", "0 9 * * MON-FRI", "*/15 0-6,22-23 1,15 JAN,jul 0", "5/10 * * * 7", "59 23 31 12 *", "0 0 29 2 *",
		"0-59/59 * * * sun,3-5/2", "@hourly", "@daily", "@weekly", "@monthly",
	} {
		_, err := product.ParseCron(good)
		require.NoError(t, err, good)
	}
	for bad, says := range map[string]string{
		"": "five fields", "* * * *": "five fields", "* * * * * *": "five fields", "*  * * * *": "five fields", " * * * * *": "five fields",
		"*\t* * * *": "five fields", "@every 1s": "five fields", "@every 1h": "five fields", "@yearly": "five fields", "@reboot": "five fields",
		"TZ=UTC * * * * *": "five fields", "CRON_TZ=UTC 0 0 * * *": "five fields", "* * * * # x": "five fields", "* * * * #": `day of the week "#"`,
		"60 * * * *": `the minute "60" is not made of values from 0 to 59`, "* 24 * * *": "0 to 23", "* * 0 * *": "1 to 31", "* * 32 * *": "1 to 31",
		"* * * 0 *": "1 to 12", "* * * 13 *": "1 to 12", "* * * * 8": "0 to 7", "* * * janu *": "1 to 12", "* * * * mon-mon-tue": "0 to 7",
		"mon * * * *": "0 to 59", "-1 * * * *": "0 to 59", "+1 * * * *": "0 to 59", "1_0 * * * *": "0 to 59", "1, * * * *": "0 to 59",
		"*/0 * * * *": "step", "*/ * * * *": "step", "*/60 * * * *": "step", "1/2/3 * * * *": "step", "9-5 * * * *": "ends before it begins",
		"5- * * * *": "0 to 59", "? * * * *": "0 to 59", "0 0 L * *": "1 to 31", "0 0 31 2 *": "never happens", "0 0 31 4,6,9,11 *": "never happens",
		strings.Repeat("1,", 100) + "1 * * * *": "five fields",
	} {
		_, err := product.ParseCron(bad)
		require.ErrorContains(t, err, says, "%q", bad)
	}
}

func FuzzParseCron(f *testing.F) {
	for _, seed := range []string{"* * * * *", "0 9 * * MON-FRI", "*/15 0-6 1 JAN 0", "@daily"} {
		f.Add(seed)
	}
	from, to := at("2026-03-01T00:00:00Z"), at("2026-03-02T00:00:00Z")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := product.ParseCron(text)
		if n := c.Count(from, to, time.UTC, 10_000); err != nil && n != 0 || n > 24*60+1 {
			t.Fatalf("%q happens %d times in a day", text, n)
		}
	})
}

func TestCronCount(t *testing.T) {
	for _, tt := range []struct {
		name, cron, zone, from, to string
		want                       int
	}{
		{"both ends count", "0 * * * *", "UTC", "2026-03-01T00:00:00Z", "2026-03-01T03:00:00Z", 4},
		{"seconds do not", "0 * * * *", "UTC", "2026-03-01T00:00:01Z", "2026-03-01T02:59:59Z", 2},
		{"in its zone", "30 9 * * *", "Asia/Kolkata", "2026-03-01T04:00:00Z", "2026-03-01T04:00:00Z", 1},
		{"weekdays", "0 9 * * mon-fri", "UTC", "2026-03-01T00:00:00Z", "2026-03-31T23:59:00Z", 22},
		{"Sunday has two numbers", "0 9 * * 7", "UTC", "2026-03-01T00:00:00Z", "2026-03-31T23:59:00Z", 5},
		{"day and weekday must both match", "0 0 13 * 5", "UTC", "2026-01-01T00:00:00Z", "2026-12-31T00:00:00Z", 3},
		{"leap days", "0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", "2032-12-31T00:00:00Z", 2},
		{"a step from a value", "50/3 * * * *", "UTC", "2026-03-01T00:00:00Z", "2026-03-01T00:59:00Z", 4},
		{"an hour that the clock skips", "30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", "2026-03-30T22:00:00Z", 2},
		{"an hour that it repeats", "30 2 * * *", "Europe/Berlin", "2026-10-24T22:00:00Z", "2026-10-25T22:00:00Z", 2},
		{"a midnight that it skips", "0 1 * * 1", "America/Sao_Paulo", "2018-10-01T00:00:00Z", "2018-11-30T00:00:00Z", 9},
		{"no further than asked", "* * * * *", "UTC", "2026-01-01T00:00:00Z", "2026-12-31T00:00:00Z", 1001},
		{"backwards", "* * * * *", "UTC", "2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := product.ParseCron(tt.cron)
			require.NoError(t, err)
			zone, err := time.LoadLocation(tt.zone)
			require.NoError(t, err)
			require.Equal(t, tt.want, c.Count(at(tt.from), at(tt.to), zone, 1001))
		})
	}
}
