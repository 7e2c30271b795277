"""Tests of the training methods other than SkillOpt."""
