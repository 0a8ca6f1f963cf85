package registry

import (
	"regexp"
	"strings"
)

// reference is an image by digest, as registries are asked for it.
type reference struct {
	host       string // with the port, if one is named
	repository string
	digest     string
}

var (
	// repositoryName and digestForm are those of the OCI distribution spec; of
	// the algorithms the one that versions are pinned by.
	repositoryName = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	digestForm     = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// parse reads HOST/NAME@sha256:…; false for what no registry could have, and for
// a name without its registry: each container runtime completes it in its own way.
func parse(image string) (reference, bool) {
	name, digest, _ := strings.Cut(image, "@")
	host, repository, qualified := strings.Cut(name, "/")
	named := qualified && (strings.ContainsAny(host, ".:") || host == "localhost")
	return reference{host, repository, digest}, named && repositoryName.MatchString(repository) && digestForm.MatchString(digest)
}

// covers reports whether an image is below a prefix, part by part: "a.example/x"
// covers "a.example/x/y@…" and "a.example/x@…", and not "a.example/xy@…".
func covers(prefix, image string) bool {
	rest, ok := strings.CutPrefix(image, strings.TrimSuffix(prefix, "/"))
	return ok && rest != "" && strings.ContainsRune("/@:", rune(rest[0]))
}
