package subject_test

import (
	"encoding/json"

	"github.com/cairn-dev/cairn/packages/apk"
)

type apkPackage = apk.InstalledPackage

func marshal(v any) ([]byte, error) { return json.Marshal(v) }
