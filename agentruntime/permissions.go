package agentruntime

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	toolPattern   = regexp.MustCompile(`^[a-z0-9]([a-z0-9._/-]{0,126}[a-z0-9])?$`)
	modelPattern  = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._:/-]*[A-Za-z0-9])?$`)
	secretPattern = regexp.MustCompile(`^[A-Z][A-Z0-9_]{0,63}$`)
	// hostPattern ends in a label that begins with a letter: no address does,
	// in whatever notation.
	hostPattern = regexp.MustCompile(`^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\.)+[a-z]([-a-z0-9]{0,61}[a-z0-9])?$`)
	portPattern = regexp.MustCompile(`^[1-9][0-9]{0,4}$`)
)

// validatePermissions checks the lists of what the agent asks for.
func (m Manifest) validatePermissions(f *findings) {
	validateNames(f, "/tools", m.Tools, MaxTools, ValidTool,
		"must be 1 to 128 lower-case letters, digits and inner dots, underscores, slashes and hyphens")
	validateNames(f, "/models", m.Models, MaxModels, ValidModel,
		"must be 1 to 100 letters, digits and inner dots, underscores, colons, slashes and hyphens")
	validateNames(f, "/secrets", m.Secrets, MaxSecrets, ValidSecret,
		"must be 1 to 64 upper-case letters, digits and underscores, a letter first")
	f.check(len(m.SecretFiles) <= MaxSecretFiles, "/secret_files", "must have at most %d entries", MaxSecretFiles)
	for i, name := range m.SecretFiles {
		pointer := fmt.Sprintf("/secret_files/%d", i)
		f.check(slices.Contains(m.Secrets, name), pointer, "must be one of secrets")
		f.check(slices.Index(m.SecretFiles, name) == i, pointer, "must not repeat an entry")
	}
	validateNames(f, "/egress", m.Egress, MaxEgress, ValidEgress,
		"must be a lower-case host name of two labels or more, such as api.example.com, *.example.com or api.example.com:443")
}

// ValidTool reports whether a manifest may name a tool like this.
func ValidTool(name string) bool { return toolPattern.MatchString(name) }

// ValidModel is ValidTool for models.
func ValidModel(name string) bool { return len(name) <= MaxModelName && modelPattern.MatchString(name) }

// ValidSecret is ValidTool for secrets.
func ValidSecret(name string) bool { return secretPattern.MatchString(name) }

func validateNames(f *findings, at string, names []string, most int, valid func(string) bool, message string) {
	f.check(len(names) <= most, at, "must have at most %d entries", most)
	for i, name := range names {
		pointer := fmt.Sprintf("%s/%d", at, i)
		f.check(valid(name), pointer, "%s", message)
		first := slices.Index(names, name)
		f.check(first == i, pointer, "must not repeat entry %d", first)
	}
}

// ValidEgress is ValidTool for hosts: [*.]HOST[:PORT].
func ValidEgress(entry string) bool {
	host, port, hasPort := strings.Cut(strings.TrimPrefix(entry, "*."), ":")
	if number, err := strconv.Atoi(port); hasPort && (!portPattern.MatchString(port) || err != nil || number > 65535) {
		return false
	}
	return len(host) <= MaxHostLength && hostPattern.MatchString(host) && !strings.HasSuffix(host, ".localhost")
}
