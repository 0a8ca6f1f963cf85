package agentruntime

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"agentmarket/fault"
)

var (
	namePattern    = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$`)
	envPattern     = regexp.MustCompile(`^[A-Z][A-Z0-9_]{0,63}$`)
	versionPattern = regexp.MustCompile(
		`^(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})` +
			`(-(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*))*)?$`)
)

// findings collects field errors, so that a publisher sees all of them at once.
type findings []fault.Field

func (f *findings) check(ok bool, pointer, format string, args ...any) {
	if !ok {
		*f = append(*f, fault.Field{Pointer: pointer, Message: fmt.Sprintf(format, args...)})
	}
}

func (f *findings) between(value, low, high int64, pointer string) {
	f.check(low <= value && value <= high, pointer, "must be between %d and %d", low, high)
}

// Validate checks a manifest with its defaults filled in. It returns nil or a
// fault.Invalid that names every wrong field. It does not compile the schemas:
// package product does.
func (m Manifest) Validate() error {
	var f findings
	f.check(m.APIVersion == APIVersion, "/api_version", "must be %q", APIVersion)
	f.check(namePattern.MatchString(m.Name), "/name",
		"must be 1 to %d lower-case letters, digits and inner hyphens", MaxNameLength)
	f.check(len(m.Version) <= MaxVersionLength && versionPattern.MatchString(m.Version), "/version",
		"must be a semantic version, MAJOR.MINOR.PATCH or MAJOR.MINOR.PATCH-PRERELEASE, of at most %d characters", MaxVersionLength)
	f.check(utf8.RuneCountInString(m.Summary) <= MaxSummaryRunes, "/summary",
		"must have at most %d characters", MaxSummaryRunes)
	f.check(utf8.ValidString(m.Summary) && strings.IndexFunc(m.Summary, unicode.IsControl) < 0, "/summary",
		"must be one line of text without control characters")
	m.validateCommand(&f)
	validateSchema(&f, "/input_schema", m.InputSchema)
	validateSchema(&f, "/output_schema", m.OutputSchema)
	f.between(m.Resources.CPUMillis, 10, 64000, "/resources/cpu_millis")
	f.between(m.Resources.MemoryMiB, 16, 262144, "/resources/memory_mib")
	f.between(m.Resources.DiskMiB, 1, 102400, "/resources/disk_mib")
	f.between(m.Timeouts.RunSeconds, 1, 86400, "/timeouts/run_seconds")
	f.between(m.Timeouts.StartSeconds, 5, 3600, "/timeouts/start_seconds")
	f.between(m.Timeouts.GraceSeconds, 0, 600, "/timeouts/grace_seconds")
	f.between(m.MaxAttempts(), 1, 10, "/retry/max_attempts")
	m.validateEnv(&f)
	m.validatePermissions(&f)
	if len(f) > 0 {
		return invalidManifest(f)
	}
	return nil
}

func (m Manifest) validateCommand(f *findings) {
	f.check(1 <= len(m.Command) && len(m.Command) <= MaxCommandItems, "/command",
		"must have 1 to %d items", MaxCommandItems)
	for i, item := range m.Command {
		pointer := fmt.Sprintf("/command/%d", i)
		f.check(i > 0 || item != "", pointer, "must name a program")
		f.check(len(item) <= MaxCommandBytes, pointer, "must have at most %d bytes", MaxCommandBytes)
		f.check(!strings.ContainsRune(item, 0), pointer, "must not contain a NUL")
	}
}

func (m Manifest) validateEnv(f *findings) {
	f.check(len(m.Env) <= MaxEnvVars, "/env", "must have at most %d entries", MaxEnvVars)
	for _, name := range sortedKeys(m.Env) {
		pointer := "/env/" + escapePointer(name)
		f.check(envPattern.MatchString(name), pointer,
			"must be named by 1 to 64 upper-case letters, digits and underscores, a letter first")
		f.check(!strings.HasPrefix(name, EnvPrefix), pointer,
			"must not begin with %s, which belongs to the platform", EnvPrefix)
		f.check(name != "HOME", pointer, "must not be HOME, which is always %s", WorkDir)
		f.check(len(m.Env[name]) <= MaxEnvBytes, pointer, "must have at most %d bytes", MaxEnvBytes)
		f.check(!strings.ContainsRune(m.Env[name], 0), pointer, "must not contain a NUL")
	}
}

// validateSchema checks that a schema has the outer form of one.
func validateSchema(f *findings, pointer string, schema json.RawMessage) {
	if len(schema) == 0 {
		return
	}
	f.check(len(schema) <= MaxSchemaBytes, pointer, "must have at most %d bytes", MaxSchemaBytes)
	form := strings.TrimLeft(string(schema[:min(len(schema), 64)]), " \t\r\n")
	f.check(json.Valid(schema) && (strings.HasPrefix(form, "{") || form == "true" || form == "false"), pointer,
		"must be a JSON Schema: an object, true or false")
}

// escapePointer escapes one name for a JSON pointer (RFC 6901).
func escapePointer(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
