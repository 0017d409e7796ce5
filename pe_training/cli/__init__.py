"""The `pe` command: one file per noun, thin. Standard output is data, standard error is talk."""
