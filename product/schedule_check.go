package product

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"agentmarket/fault"
)

// CodeScheduleInvalid is the code of a schedule, or of a backfill, that breaks a
// rule.
const CodeScheduleInvalid = "schedule_invalid"

// Check returns fault.Invalid, schedule_invalid, with every field that is wrong.
// Labels, input and request are checked as those of a start are.
func (s Schedule) Check() error {
	var fields []fault.Field
	wrong := func(pointer, message string) {
		fields = append(fields, fault.Field{Pointer: pointer, Message: message})
	}
	if !oneLine(s.Name, MaxScheduleName) || strings.TrimSpace(s.Name) == "" {
		wrong("/name", fmt.Sprintf("must be 1 to %d characters on one line", MaxScheduleName))
	}
	if _, err := ParseCron(s.Cron); err != nil {
		wrong("/cron", err.Error())
	}
	if _, err := s.zone(); err != nil {
		wrong("/time_zone", "is not a time zone of the IANA database, such as Europe/Berlin")
	}
	if !s.Overlap.known() {
		wrong("/overlap", "must be skip, buffer_one, cancel_other or allow")
	}
	if !oneLine(s.PauseReason, MaxPauseReason) {
		wrong("/pause_reason", fmt.Sprintf("must have at most %d characters on one line", MaxPauseReason))
	}
	if s.Budget.Currency != "" && s.Budget.Micros <= 0 {
		wrong("/budget/amount_micros", "must be more than nothing; pause a schedule that may not cost anything")
	}
	return scheduleInvalid("the schedule is not valid", fields)
}

// CheckBackfill returns fault.Invalid, schedule_invalid, for a range that lies in
// the future or before all schedules, is too long, or has no start or too many.
func (s Schedule) CheckBackfill(from, to time.Time, overlap Overlap, now time.Time) error {
	var fields []fault.Field
	wrong := func(pointer, message string) {
		fields = append(fields, fault.Field{Pointer: pointer, Message: message})
	}
	if !overlap.known() {
		wrong("/overlap", "must be skip, buffer_one, cancel_other or allow")
	}
	switch {
	case to.After(now):
		wrong("/to", "must not be in the future")
	case to.Before(from):
		wrong("/to", "must not be before from")
	case from.Year() < 1970:
		wrong("/from", "must not be before 1970")
	case to.Sub(from) > MaxBackfillRange:
		wrong("/from", fmt.Sprintf("must be at most %d days before to", MaxBackfillRange/(24*time.Hour)))
	default:
		n, err := s.count(from, to)
		switch {
		case err != nil:
			return err
		case n == 0:
			wrong("/from", "the schedule has no start in this range")
		case n > MaxBackfill:
			wrong("/from", fmt.Sprintf("the schedule has more than %d starts in this range", MaxBackfill))
		}
	}
	return scheduleInvalid("the backfill is not valid", fields)
}

// count counts the starts in a range, up to one more than a backfill may have.
func (s Schedule) count(from, to time.Time) (int, error) {
	cron, err := ParseCron(s.Cron)
	if err != nil {
		return 0, fmt.Errorf("read cron of schedule %s: %w", s.ID, err)
	}
	zone, err := s.zone()
	if err != nil {
		return 0, err
	}
	return cron.Count(from, to, zone, MaxBackfill+1), nil
}

// zone loads the time zone of the schedule. "Local" would be that of whatever
// computer reads it.
func (s Schedule) zone() (*time.Location, error) {
	if len(s.TimeZone) > MaxTimeZone || s.TimeZone == "Local" {
		return nil, fmt.Errorf("unknown time zone %q", s.TimeZone)
	}
	zone, err := time.LoadLocation(s.TimeZone)
	if err != nil {
		return nil, fmt.Errorf("load time zone: %w", err)
	}
	return zone, nil
}

func scheduleInvalid(message string, fields []fault.Field) error {
	if len(fields) == 0 {
		return nil
	}
	return fault.New(fault.Invalid, CodeScheduleInvalid, message).WithFields(fields...)
}

// oneLine reports whether a text for people fits on a line and shows what it says.
func oneLine(text string, most int) bool {
	return utf8.ValidString(text) && utf8.RuneCountInString(text) <= most && strings.IndexFunc(text, func(r rune) bool {
		return unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
	}) < 0
}
