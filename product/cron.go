package product

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// Cron is when something happens, to the minute: a time happens when all five
// fields match it as the clock of its zone shows it. It is read as Temporal reads
// it: with a day of the month and a day of the week both must match, an hour that
// the clock skips does not happen, and one that it repeats happens twice.
type Cron struct {
	minute, hour, day, month, weekday uint64 // a bit for each value
}

// MaxCron bounds the text of a cron expression, in bytes.
const MaxCron = 200

// cronNames are the expressions that have a name.
var cronNames = map[string]string{
	"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *",
}

// cronField is one of the five fields.
type cronField struct {
	name        string
	first, last int
	words       []string // of the values, from first on
}

var cronFields = [5]cronField{
	{"minute", 0, 59, nil},
	{"hour", 0, 23, nil},
	{"day of the month", 1, 31, nil},
	{"month", 1, 12, []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
	{"day of the week", 0, 7, []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}},
}

// ParseCron reads five fields, or one of @hourly, @daily, @weekly and @monthly.
// Each field is a list of *, a value, a range, and these with a step: 1,5-9,*/15.
// An expression that never happens is an error, too. Errors are for people.
func ParseCron(text string) (Cron, error) {
	if named, ok := cronNames[text]; ok {
		text = named
	}
	parts := strings.Split(text, " ")
	if len(text) > MaxCron || len(parts) != len(cronFields) {
		return Cron{}, errors.New("must be five fields with a space between them: minute, hour, day of the month, month, " +
			"day of the week; or @hourly, @daily, @weekly or @monthly")
	}
	var sets [len(cronFields)]uint64
	for i, part := range parts {
		var err error
		if sets[i], err = cronFields[i].parse(part); err != nil {
			return Cron{}, fmt.Errorf("the %s %q %w", cronFields[i].name, part, err)
		}
	}
	c := Cron{minute: sets[0], hour: sets[1], day: sets[2], month: sets[3], weekday: sets[4]}
	if c.weekday&(1<<7) != 0 { // Sunday, as 0 is
		c.weekday |= 1
	}
	if !c.happens() {
		return Cron{}, errors.New("never happens: no month has such a day")
	}
	return c, nil
}

func (f cronField) parse(text string) (set uint64, err error) {
	for part := range strings.SplitSeq(text, ",") {
		first, last, step, err := f.span(part)
		if err != nil {
			return 0, err
		}
		for v := first; v <= last; v += step {
			set |= 1 << v
		}
	}
	return set, nil
}

// span reads *, a value or a range, with or without a step. A value with a step
// goes on to the last one.
func (f cronField) span(part string) (first, last, step int, err error) {
	part, every, stepped := strings.Cut(part, "/")
	step = 1
	if stepped {
		if step, err = twoDigits(every); err != nil || step < 1 || step > f.last {
			return 0, 0, 0, fmt.Errorf("has a step that is not a number from 1 to %d", f.last)
		}
	}
	if part == "*" {
		return f.first, f.last, step, nil
	}
	from, to, ranged := strings.Cut(part, "-")
	if first, err = f.value(from); err != nil {
		return 0, 0, 0, err
	}
	switch {
	case ranged:
		if last, err = f.value(to); err != nil {
			return 0, 0, 0, err
		}
		if last < first {
			return 0, 0, 0, errors.New("has a range that ends before it begins")
		}
	case stepped:
		last = f.last
	default:
		last = first
	}
	return first, last, step, nil
}

func (f cronField) value(text string) (int, error) {
	for i, word := range f.words {
		if strings.EqualFold(text, word) {
			return f.first + i, nil
		}
	}
	v, err := twoDigits(text)
	if err != nil || v < f.first || v > f.last {
		return 0, fmt.Errorf("is not made of values from %d to %d", f.first, f.last)
	}
	return v, nil
}

// twoDigits reads one or two digits, and nothing else that strconv would take.
func twoDigits(text string) (int, error) {
	if len(text) > 2 || strings.Trim(text, "0123456789") != "" {
		return 0, strconv.ErrSyntax
	}
	return strconv.Atoi(text)
}

// happens reports whether any month has any of the days. Every day of the year is
// every day of the week before long.
func (c Cron) happens() bool {
	first := bits.TrailingZeros64(c.day)
	for month := time.January; month <= time.December; month++ {
		longest := time.Date(2024, month+1, 0, 0, 0, 0, 0, time.UTC).Day() // of a leap year
		if c.month&(1<<month) != 0 && first <= longest {
			return true
		}
	}
	return false
}

// Count counts the times from one time to another, both included, on the clock of
// a zone. It counts no further than most.
func (c Cron) Count(from, to time.Time, zone *time.Location, most int) int {
	n := 0
	t := from.In(zone).Truncate(time.Minute)
	if t.Before(from) {
		t = t.Add(time.Minute)
	}
	for !t.After(to) && n < most {
		switch {
		case c.month&(1<<t.Month()) == 0 || c.day&(1<<t.Day()) == 0 || c.weekday&(1<<t.Weekday()) == 0:
			next := time.Date(t.Year(), t.Month(), t.Day()+1, 0, 0, 0, 0, zone)
			if !next.After(t) { // a midnight that the clock has twice, or not at all
				next = t.Add(time.Hour)
			}
			t = next
		case c.hour&(1<<t.Hour()) == 0:
			t = t.Add(time.Duration(60-t.Minute()) * time.Minute)
		default:
			if c.minute&(1<<t.Minute()) != 0 {
				n++
			}
			t = t.Add(time.Minute)
		}
	}
	return n
}
