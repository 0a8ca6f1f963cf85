package agentruntime

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"agentmarket/fault"
)

// APIVersion is the version of the contract that this package implements.
const APIVersion = "agentmarket/v1"

// The limits of a manifest.
const (
	MaxManifestBytes = 256 << 10
	MaxSchemaBytes   = 64 << 10
	MaxNameLength    = 40
	MaxVersionLength = 64
	MaxSummaryRunes  = 200
	MaxCommandItems  = 64
	MaxCommandBytes  = 4096 // of one item
	MaxEnvVars       = 32
	MaxEnvBytes      = 4096 // of one value
	MaxTools         = 64
	MaxSecrets       = 32
	MaxEgress        = 64
	MaxModels        = 16
	MaxModelName     = 100
	MaxHostLength    = 253
)

// Manifest is agent.yaml: what a publisher says about one version of an agent.
// Callers convert YAML to JSON before [ParseManifest]. The JSON form of a
// parsed manifest is deterministic and contains the defaults.
type Manifest struct {
	// APIVersion is "agentmarket/v1".
	APIVersion string `json:"api_version"`
	// Name is the agent's name within its publisher, a DNS label of at most 40
	// characters.
	Name string `json:"name"`
	// Version is a semantic version, MAJOR.MINOR.PATCH with an optional
	// pre-release part and no build metadata.
	Version string `json:"version"`
	// Summary is one line for lists, at most 200 characters.
	Summary string `json:"summary"`
	// Command is the program and its arguments: 1 to 64 items of at most 4096
	// bytes. No shell reads it. A program without a slash is looked up in PATH.
	Command []string `json:"command"`
	// InputSchema and OutputSchema are JSON Schemas (2020-12) of at most 64
	// KiB: an object or a boolean. Absent means that anything goes.
	InputSchema  json.RawMessage `json:"input_schema,omitempty"`
	OutputSchema json.RawMessage `json:"output_schema,omitempty"`
	Resources    Resources       `json:"resources"`
	Timeouts     Timeouts        `json:"timeouts"`
	// Retry bounds how often a caller may have a run tried that the agent failed.
	// Nil: once.
	Retry *Retry `json:"retry,omitempty"`
	// Env are constants for the agent's environment, never secrets: anybody
	// who can read the manifest can read them. At most 32, named
	// ^[A-Z][A-Z0-9_]{0,63}$ but not AGENT_… or HOME, values of at most 4096
	// bytes.
	Env map[string]string `json:"env,omitempty"`

	// Tools, Models, Secrets, SecretFiles and Egress are the permissions that the agent asks for.
	// Buyers see them and must consent. The gateway has what the plan of a run grants of
	// them. No list has an entry twice.

	// Tools are names of tools: at most 64, each matches
	// ^[a-z0-9]([a-z0-9._/-]{0,126}[a-z0-9])?$.
	Tools []string `json:"tools,omitempty"`
	// Models are names of language models of the platform: at most 16, each of 1 to 100
	// letters, digits and inner ._:/- .
	Models []string `json:"models,omitempty"`
	// Secrets are names of secrets of the buyer: at most 32, each matches
	// ^[A-Z][A-Z0-9_]{0,63}$.
	Secrets []string `json:"secrets,omitempty"`
	// SecretFiles are those of Secrets that the agent reads itself, as files in
	// SecretsDir: at most 8. All others are used for it, outside of its pod.
	SecretFiles []string `json:"secret_files,omitempty"`
	// Egress are hosts to connect to: at most 64. A host is a lower-case DNS
	// name of two labels or more, never an address. "*." before it means every
	// name below it and not the name itself; ":PORT" after it means that port,
	// otherwise it is 443.
	Egress []string `json:"egress,omitempty"`
}

// Resources is what one attempt may use. The supervisor's few MiB count, too.
type Resources struct {
	// CPUMillis is in thousandths of a core: 10 to 64000, default 500.
	CPUMillis int64 `json:"cpu_millis"`
	// MemoryMiB is 16 to 262144, default 128. More is agent_oom.
	MemoryMiB int64 `json:"memory_mib"`
	// DiskMiB bounds all that the agent writes: 1 to 102400, default 64. More
	// is agent_disk.
	DiskMiB int64 `json:"disk_mib"`
}

// Timeouts are in seconds.
type Timeouts struct {
	// RunSeconds bounds the agent's process: 1 to 86400, default 300.
	RunSeconds int64 `json:"run_seconds"`
	// StartSeconds bounds the time from a granted slot to the start of the
	// process, image pull included: 5 to 3600, default 120.
	StartSeconds int64 `json:"start_seconds"`
	// GraceSeconds is the time between SIGTERM and SIGKILL: 0 to 600, default
	// 10; 0 kills at once.
	GraceSeconds int64 `json:"grace_seconds"`
}

// Retry is for agents that are safe to run again with the same input.
type Retry struct {
	// MaxAttempts is 1 to 10, default 1: no retry. Callers have to ask for more
	// than one.
	MaxAttempts int64 `json:"max_attempts"`
}

// MaxAttempts is how many attempts of one run may fail by the agent's fault.
func (m Manifest) MaxAttempts() int64 {
	if m.Retry == nil {
		return 1
	}
	return m.Retry.MaxAttempts
}

// DefaultResources returns what a manifest gets that says nothing.
func DefaultResources() Resources {
	return Resources{CPUMillis: 500, MemoryMiB: 128, DiskMiB: 64}
}

// DefaultTimeouts returns what a manifest gets that says nothing.
func DefaultTimeouts() Timeouts {
	return Timeouts{RunSeconds: 300, StartSeconds: 120, GraceSeconds: 10}
}

// manifestKeys are the fields of each object of a manifest. encoding/json
// matches names without regard to case; a contract should not.
var manifestKeys = map[string][]string{
	"": {"api_version", "name", "version", "summary", "command", "input_schema",
		"output_schema", "resources", "timeouts", "retry", "env", "tools", "models", "secrets", "secret_files", "egress"},
	"/resources": {"cpu_millis", "memory_mib", "disk_mib"},
	"/timeouts":  {"run_seconds", "start_seconds", "grace_seconds"},
	"/retry":     {"max_attempts"},
}

// ParseManifest reads a manifest from JSON, fills in the defaults and validates
// it. Unknown fields are errors. All errors are fault.Invalid (fault.TooLarge
// for a manifest over 256 KiB) with JSON pointers into the manifest.
func ParseManifest(data []byte) (Manifest, error) {
	if len(data) > MaxManifestBytes {
		return Manifest{}, fault.Newf(fault.TooLarge, "manifest_too_large",
			"the manifest has %d bytes, at most %d are allowed", len(data), MaxManifestBytes)
	}
	if fields := unknownFields(data); len(fields) > 0 {
		return Manifest{}, invalidManifest(fields)
	}
	m := Manifest{Resources: DefaultResources(), Timeouts: DefaultTimeouts(), Retry: &Retry{MaxAttempts: 1}}
	if err := decodeStrict(data, &m); err != nil {
		return Manifest{}, invalidManifest([]fault.Field{decodeField(err)})
	}
	// A schema that is null is one that is absent; white space has no meaning.
	m.InputSchema, m.OutputSchema = compactRaw(m.InputSchema), compactRaw(m.OutputSchema)
	// Neither has an empty list, or a retry that is none: equal manifests have equal
	// JSON.
	if len(m.Env) == 0 {
		m.Env = nil
	}
	if m.MaxAttempts() == 1 {
		m.Retry = nil
	}
	for _, list := range []*[]string{&m.Tools, &m.Models, &m.Secrets, &m.SecretFiles, &m.Egress} {
		if len(*list) == 0 {
			*list = nil
		}
	}
	if err := m.Validate(); err != nil {
		return Manifest{}, err
	}
	return m, nil
}

// unknownFields returns a field error for every name that the contract does not
// know. It reports nothing for what is not an object; decoding does.
func unknownFields(data []byte) []fault.Field {
	var fields []fault.Field
	var walk func(at string, data []byte)
	walk = func(at string, data []byte) {
		var object map[string]json.RawMessage
		if json.Unmarshal(data, &object) != nil {
			return
		}
		for _, key := range sortedKeys(object) {
			pointer := at + "/" + escapePointer(key)
			switch {
			case !slices.Contains(manifestKeys[at], key):
				fields = append(fields, fault.Field{Pointer: pointer, Message: "is not a field of " + APIVersion})
			case manifestKeys[pointer] != nil:
				walk(pointer, object[key])
			}
		}
	}
	walk("", data)
	return fields
}

// decodeStrict decodes exactly one JSON value without unknown fields.
func decodeStrict(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value")
	}
	return nil
}

// decodeField turns an error of encoding/json into a field for people.
func decodeField(err error) fault.Field {
	var typeError *json.UnmarshalTypeError
	if errors.As(err, &typeError) {
		pointer := ""
		if typeError.Field != "" {
			pointer = "/" + strings.ReplaceAll(typeError.Field, ".", "/")
		}
		return fault.Field{Pointer: pointer,
			Message: fmt.Sprintf("must be %s, not %s", jsonType(typeError.Type.Kind().String()), typeError.Value)}
	}
	return fault.Field{Message: "must be one JSON object: " + err.Error()}
}

// jsonType is the JSON word for a kind of Go type.
func jsonType(kind string) string {
	switch kind {
	case "int64":
		return "a whole number"
	case "slice":
		return "a list"
	case "map", "struct":
		return "an object"
	default:
		return "a " + kind
	}
}

// compactRaw returns raw without insignificant white space, nil for null.
func compactRaw(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return raw
	}
	return b.Bytes()
}

func invalidManifest(fields []fault.Field) error {
	return fault.New(fault.Invalid, "manifest_invalid", "the manifest is not valid").WithFields(fields...)
}
