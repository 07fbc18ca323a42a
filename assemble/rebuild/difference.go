package rebuild

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
)

// Difference names the first place where two JSON documents differ: "at
// config.User: found "root", expected "app"".
func Difference(found, expected []byte) string {
	var a, b any
	if err := number(found, &a); err != nil {
		return "not JSON: " + err.Error()
	}
	if err := number(expected, &b); err != nil {
		return "not JSON: " + err.Error()
	}
	path, x, y := differ("", a, b)
	if path == "" && reflect.DeepEqual(a, b) {
		return "equal values, spelled differently"
	}
	return fmt.Sprintf("at %s: found %s, expected %s", path, short(x), short(y))
}

// number decodes without rounding numbers.
func number(raw []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	return d.Decode(v)
}

// absent stands for a value that is not there.
type absent struct{}

func differ(path string, a, b any) (string, any, any) {
	switch x := a.(type) {
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok {
			break
		}
		keys := maps.Clone(x)
		maps.Copy(keys, y)
		for _, k := range slices.Sorted(maps.Keys(keys)) {
			if p, u, v := differ(join(path, k), get(x, k), get(y, k)); p != "" {
				return p, u, v
			}
		}
		return "", nil, nil
	case []any:
		y, ok := b.([]any)
		if !ok {
			break
		}
		for i := range max(len(x), len(y)) {
			var u, v any = absent{}, absent{}
			if i < len(x) {
				u = x[i]
			}
			if i < len(y) {
				v = y[i]
			}
			if p, u, v := differ(path+"["+strconv.Itoa(i)+"]", u, v); p != "" {
				return p, u, v
			}
		}
		return "", nil, nil
	}
	if reflect.DeepEqual(a, b) {
		return "", nil, nil
	}
	return path, a, b
}

func get(m map[string]any, k string) any {
	if v, ok := m[k]; ok {
		return v
	}
	return absent{}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// short spells a value in a message.
func short(v any) string {
	if _, none := v.(absent); none {
		return "nothing"
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	if len(b) > 200 {
		return string(b[:200]) + "…"
	}
	return string(b)
}
