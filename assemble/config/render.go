package config

//lint:file-ignore SA1019 apko deprecates include, cairn keeps it

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"chainguard.dev/apko/pkg/build/types"
	"gopkg.in/yaml.v3"
)

// YAML renders the merged configuration as one file in apko's form, which
// loads to the same configuration. Credentials in URLs are hidden, so that a
// configuration with credentials does not load to working repositories again;
// the configuration itself is left as it is.
func (c *Config) YAML() ([]byte, error) {
	shown := c.redacted()
	contents := plainContents(shown.Contents)
	shown.Contents = types.ImageContents{}
	root, err := toNode(shown)
	if err != nil {
		return nil, err
	}
	body, err := toNode(contents)
	if err != nil {
		return nil, err
	}
	if err := c.writeEntries(body); err != nil {
		return nil, err
	}
	root.Content = append([]*yaml.Node{{Kind: yaml.ScalarNode, Value: "contents"}, body}, root.Content...)
	root.Style = 0
	c.tidyPermissions(root)
	tidy(root, language())
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(root); err != nil {
		return nil, fmt.Errorf("render configuration: %w", err)
	}
	if err := enc.Close(); err != nil {
		return nil, fmt.Errorf("render configuration: %w", err)
	}
	return b.Bytes(), nil
}

// JSON renders what [Config.YAML] renders as indented JSON.
func (c *Config) JSON() ([]byte, error) {
	b, err := json.MarshalIndent(c.redacted().forJSON(), "", "  ")
	if err != nil {
		return nil, fmt.Errorf("render configuration: %w", err)
	}
	return append(b, '\n'), nil
}

// plainContents is without apko's MarshalYAML, which hides passwords in the
// live lists (TestApkoDefect_ShowConfigMutates) and refuses paths that are no
// URLs.
type plainContents types.ImageContents

// redacted returns a copy without credentials and without the include key,
// whose file is merged in already.
func (c *Config) redacted() *Config {
	r := *c
	ct := &r.Contents
	ct.Repositories = redactAll(ct.Repositories, redactLine)
	ct.BuildRepositories = redactAll(ct.BuildRepositories, redactLine)
	ct.RuntimeOnlyRepositories = redactAll(ct.RuntimeOnlyRepositories, redactLine)
	ct.Keyring = redactAll(ct.Keyring, redactURL)
	r.Keyrings = nil
	for name, keys := range c.Keyrings {
		if r.Keyrings == nil {
			r.Keyrings = map[string][]string{}
		}
		r.Keyrings[redactURL(name)] = redactAll(keys, redactURL)
	}
	r.VCSUrl = redactVCS(c.VCSUrl)
	r.Include = ""
	return &r
}

func toNode(v any) (*yaml.Node, error) {
	var n yaml.Node
	if err := n.Encode(v); err != nil {
		return nil, fmt.Errorf("render configuration: %w", err)
	}
	return &n, nil
}

// tidyPermissions drops the zero permissions of entries that gave none.
func (c *Config) tidyPermissions(root *yaml.Node) {
	paths := get(root, "paths")
	if paths == nil {
		return
	}
	for i, entry := range paths.Content {
		if !c.PermissionsGiven(i) {
			drop(entry, "permissions")
		}
	}
}

// get returns a mapping's value.
func get(n *yaml.Node, name string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i+1]
		}
	}
	return nil
}

func drop(n *yaml.Node, name string) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			n.Content = slices.Delete(n.Content, i, i+2)
			return
		}
	}
}

// tidy removes keys without a value and writes permissions in octal.
func tidy(n *yaml.Node, t *node) {
	switch t.kind {
	case kindList:
		for _, item := range n.Content {
			tidy(item, t.elem)
		}
	case kindObject:
		var kept []*yaml.Node
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := n.Content[i], n.Content[i+1]
			f := t.byName[key.Value]
			tidy(value, f)
			if !unset(value, f) {
				kept = append(kept, key, value)
			}
		}
		n.Content = kept
	case kindNumber:
		if v, ok := integer(n); ok && t.octal {
			n.Value = fmt.Sprintf("0o%o", v)
		}
	}
}

// unset reports whether a value is what a missing key means.
func unset(n *yaml.Node, t *node) bool {
	switch n.Kind {
	case yaml.MappingNode, yaml.SequenceNode:
		return len(n.Content) == 0 && t.merge != mergeWhole
	case yaml.ScalarNode:
		empty := n.Value == "" && !t.keepEmpty
		return n.ShortTag() == "!!null" || t.kind == kindText && empty || t.kind == kindBool && n.Value == "false"
	}
	return false
}
