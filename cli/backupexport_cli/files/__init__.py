"""Files on this machine: fetched from the api, checked, decrypted."""
