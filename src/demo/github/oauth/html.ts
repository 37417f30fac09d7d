const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};
const characters = new Map(Object.entries(entities).map(([character, entity]) => [entity, character]));

/** Markup that is safe to send: made by `html` and by nothing else. */
export class Markup {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** Builds markup; every value that is not markup itself is escaped, for elements and quoted attributes alike. */
export function html(parts: TemplateStringsArray, ...values: (string | Markup | Markup[])[]): Markup {
  const text = parts.map((part, index) => part + render(values[index] ?? ''));
  return new Markup(text.join(''));
}

/** Reads back what `html` escaped. */
export function unescapeHtml(text: string): string {
  return text.replace(/&(?:amp|lt|gt|quot|#39);/g, (entity) => characters.get(entity) ?? entity);
}

function render(value: string | Markup | Markup[]): string {
  if (value instanceof Markup) return value.text;
  if (Array.isArray(value)) return value.map((entry) => entry.text).join('');
  return value.replace(/[&<>"']/g, (character) => entities[character] ?? character);
}
