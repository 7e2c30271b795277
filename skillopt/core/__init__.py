"""What all other packages use: values, skills, files, import paths, errors."""
