package marketplace

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"agentmarket/fault"
	"agentmarket/product"
)

// Check is one automated check of a submission.
type Check struct {
	Name    string // manifest, schemas, image, samples, permissions
	Passed  bool
	Message string   // for people
	Pointer string   // what of the listing is wrong; empty: nothing of it
	Details []string // what a buyer will be shown
}

func failedChecks(checks []Check) (failed []fault.Field) {
	for _, c := range checks {
		if !c.Passed {
			failed = append(failed, fault.Field{Pointer: c.Pointer, Message: c.Name + ": " + c.Message})
		}
	}
	return failed
}

// Images tells whether an image can be had. An image that cannot is
// fault.Invalid; a registry that does not answer is fault.Unavailable.
type Images interface {
	Resolve(ctx context.Context, image string) error
}

// CheckSubmission makes the automated checks. version is the one that buyers
// would get; nil for a preview, an agent that is listed before it has one. A
// registry that does not answer is an error: nothing is decided then. Without images
// no image is looked for.
func CheckSubmission(ctx context.Context, l Listing, version *product.Version, images Images) ([]Check, error) {
	if version == nil {
		return []Check{{Name: "manifest", Passed: true, Message: "a preview: the agent has no version yet"}}, nil
	}
	checks := []Check{checkManifest(*version), checkSchemas(*version), checkSamples(l, *version), checkPermissions(*version)}
	if images == nil {
		return append(checks, Check{Name: "image", Passed: true, Message: "not checked: " + version.Image}), nil
	}
	image := Check{Name: "image", Passed: true, Message: "can be had: " + version.Image}
	switch err := images.Resolve(ctx, version.Image); {
	case fault.Is(err, fault.Invalid):
		image.Passed, image.Message = false, fault.From(err).Message
	case err != nil:
		return nil, fmt.Errorf("resolve image of %s: %w", l.FullName(), err)
	}
	return append(checks, image), nil
}

func checkManifest(v product.Version) Check {
	c := Check{Name: "manifest", Passed: true, Message: "version " + v.Number}
	if err := v.Manifest.Validate(); err != nil {
		c.Passed, c.Message = false, wordsOf(err)
	}
	return c
}

func checkSchemas(v product.Version) Check {
	c := Check{Name: "schemas", Passed: true, Message: "input and output schema compile"}
	for _, text := range [][]byte{v.Manifest.InputSchema, v.Manifest.OutputSchema} {
		if _, err := product.CompileSchema(text); err != nil {
			c.Passed, c.Message = false, wordsOf(err)
		}
	}
	return c
}

// checkSamples validates what buyers will try first.
func checkSamples(l Listing, v product.Version) Check {
	c := Check{Name: "samples", Passed: true, Message: fmt.Sprintf("%d samples match the schemas", len(l.Content.Samples))}
	input, inputErr := product.CompileSchema(v.Manifest.InputSchema)
	output, outputErr := product.CompileSchema(v.Manifest.OutputSchema)
	if inputErr != nil || outputErr != nil {
		return Check{Name: "samples", Message: "cannot be checked without valid schemas", Pointer: "/samples"}
	}
	for i, s := range l.Content.Samples {
		err := input.Validate(fmt.Sprintf("/samples/%d/input", i), s.Input)
		if err == nil && len(s.Output) > 0 {
			err = output.Validate(fmt.Sprintf("/samples/%d/output", i), s.Output)
		}
		if err != nil {
			return Check{Name: "samples", Message: wordsOf(err), Pointer: fmt.Sprintf("/samples/%d", i)}
		}
	}
	return c
}

func checkPermissions(v product.Version) Check {
	return Check{
		Name: "permissions", Passed: true, Message: "buyers will be shown these",
		Details: DescribePermissions(product.PermissionsOf(v.Manifest)),
	}
}

// DescribePermissions words what an agent asks for, as its buyers see it.
func DescribePermissions(p product.Permissions) []string {
	var lines []string
	add := func(what string, names []string) {
		if len(names) > 0 {
			lines = append(lines, what+" "+strings.Join(names, ", "))
		}
	}
	add("calls the tools", p.Tools)
	add("asks the models", p.Models)
	add("uses the secrets", p.Secrets)
	add("reads the secrets", p.SecretFiles)
	add("connects to", p.Egress)
	return append(lines, fmt.Sprintf("runs for up to %d s with %d.%03d CPU, %d MiB of memory and %d MiB of disk",
		p.RunSeconds, p.CPUMillis/1000, p.CPUMillis%1000, p.MemoryMiB, p.DiskMiB))
}

// wordsOf words a fault with its first wrong field.
func wordsOf(err error) string {
	f := fault.From(err)
	if len(f.Fields) > 0 {
		return f.Message + ": " + f.Fields[0].Pointer + " " + f.Fields[0].Message
	}
	return f.Message
}

// checkLongText checks a text of several lines.
func checkLongText(text, pointer string, most int) error {
	if strings.TrimSpace(text) == "" || utf8.RuneCountInString(text) > most || !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return invalidFieldf(pointer, "must be 1 to %d characters", most)
	}
	return nil
}
